"""Predictors: the models that are trained on selections and judged on the validation rows.

Also rewards and weighted fits. Imports from `data`, `files` and `numerics` only.
"""
