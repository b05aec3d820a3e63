"""What reference models say about labels: the marginal, and what it is made of.

References judge every row without having seen its label (trees, a forest, linear models,
neighbours, words); which of them are asked depends on the kind of data (`kinds`). They are pooled
and calibrated (`pool`), and tell how likely a label is its row's own (`noise`). Imports from
`data`, `predictors` and `padding` only.
"""
