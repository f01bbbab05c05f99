"""Long runs, faults and little memory: is anything lost, and does anything grow?"""
