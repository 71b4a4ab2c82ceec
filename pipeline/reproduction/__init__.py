"""A recorded run trained again, and held against its record."""
