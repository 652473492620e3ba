"""Secret sharing: replicated shares of ring elements and of bits, circuits on them.

Opening, packing, conversion between rings and bits.
"""
