"""The compute party: what it accepts, checks, pays and answers.

Its API, its peers, and the engine behind them.
"""
