"""The AIM mechanism in the clear: domain, marginals, budget, policy, estimator, evaluation."""
