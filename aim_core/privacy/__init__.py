"""What privacy costs: zCDP in exact fractions, facts about noise.

Also who is counted when, and how many records there are.
"""
