"""AIM and FLAIM without input or output: what is asked, in which order, for which budget.

Also central AIM's oracle, in the clear.
"""
