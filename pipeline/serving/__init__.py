"""Trained models at work: prediction, promotion, drawn digits."""
