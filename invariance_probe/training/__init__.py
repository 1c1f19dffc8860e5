"""Trainings of spatial transformer networks: resumable, measured, kept in run folders."""
