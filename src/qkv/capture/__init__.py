"""Seeing where any model looks: its attention calls are recorded as they are made."""
