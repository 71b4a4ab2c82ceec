"""Measures how fast bnlab is: against peers, against the machine's floor, and as jobs grow."""
