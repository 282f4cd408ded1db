"""Electrons scattered by atoms: scattering factors, potentials on a grid, probes, detectors."""
