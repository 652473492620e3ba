"""What tests of secure steps share: sessions, dealt shares, words of bits, views of parties."""
