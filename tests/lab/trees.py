"""Made sentences with trees, as CoNLL-U has them."""

LINES = """\
# newdoc id = a
# text = The old man's dog slept.
1	The	the	DET	DT	_	3	det	_	_
2	old	old	ADJ	JJ	_	3	amod	_	_
3-4	man's	_	_	_	_	_	_	_	_
3	man	man	NOUN	NN	_	5	nmod:poss	_	_
4	's	's	PART	POS	_	3	case	_	_
5	dog	dog	NOUN	NN	_	6	nsubj	_	_
6	slept	sleep	VERB	VBD	_	0	root	_	_
6.1	slept	sleep	VERB	VBD	_	_	_	0:root	_
7	.	.	PUNCT	.	_	6	punct	_	_

# text = Dogs eat.
1	Dogs	dog	NOUN	NNS	_	2	nsubj	_	_
2	eat	eat	VERB	VBP	_	0	root	_	_

# newdoc id = b
1	1 000	1 000	NUM	CD	_	2	nummod	_	_
2	dogs	dog	NOUN	NNS	_	3	nsubj	_	_
3	ate	eat	VERB	VBD	_	0	root	_	_
4	the	the	DET	DT	_	5	det	_	_
5	bone	bone	NOUN	NN	_	3	obj	_	_
"""
