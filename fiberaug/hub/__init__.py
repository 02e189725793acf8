"""Folders sent to the Hub, each with a card that says what it is."""
