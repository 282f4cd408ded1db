"""Projections of images in two dimensions, and their inversion."""
