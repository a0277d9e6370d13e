"""dmd: restores the faces in folders of old photographs, each person from their own dictionary."""

__version__ = "0.1.0"
