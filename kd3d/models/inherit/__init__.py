"""What a student takes over from a trained detector before its own training begins.

``graph`` and ``parts``: which layer reads which channels; ``ranking``: which channels stay;
``slicing``: the walk along the graph; ``kinds``: what a config names, FNAV2, BN_SCALE and OFA
(slices of every tensor), handover and prefix (tensors as they are).
"""
