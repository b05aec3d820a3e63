"""Predictors: the models that are trained on selections and judged on the validation rows.

`base` says what a predictor has; rewards and the weighted fit are here, too. Imports from `data`,
`files` and `numerics` only.
"""
