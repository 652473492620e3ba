"""Noise: samplers in the clear and on shares, what each costs and how far it is from ideal.

Also the bank, which makes it ahead.
"""
