"""Puts trained models to use: prediction, promotion, and preparing drawn digits for them."""
