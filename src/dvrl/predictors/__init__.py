"""Predictors: the models that are trained on selections and judged on the validation rows."""
