"""How fast bnlab is: beside its peers, beside the machine's floor, and as it grows."""
