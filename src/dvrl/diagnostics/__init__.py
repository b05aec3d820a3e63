"""Whether values can be trusted, and why a row is suspect.

Findings about a run, shrinkage, labels that do not fit, reasons. Imports from `learning` and the
rooms below it.
"""
