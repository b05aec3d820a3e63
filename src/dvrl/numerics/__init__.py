"""Help with numbers: padding, mapping over axes, compiled code, paired comparisons.

Imports from no other room.
"""
