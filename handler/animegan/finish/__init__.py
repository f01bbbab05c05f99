"""The finish: the steps of a look that follow the network, each a small operator on rows of a picture.

Pictures are planar here: fp32 (3, H, W), RGB in 0..1, gamma-encoded as sRGB (IEC 61966-2-1).
"""
