"""Rows: as the caller holds them, encoded, split, with planted errors.

`Table` is what all other rooms see. Imports from `files` and `numerics` only.
"""
