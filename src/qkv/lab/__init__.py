"""The lab: studies that check what is claimed of RNN, LSTM, self-attention and their hybrid.

A study is one file in `studies`. What all studies share is here: runs that are kept one by one,
checks of fairness, intervals, verdicts and the report.
"""
