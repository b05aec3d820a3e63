"""Learning values: settings, the estimator network, the policy, the outer loop (Algorithm 1).

Read `loop` first. Imports from `references` and the rooms below it.
"""
