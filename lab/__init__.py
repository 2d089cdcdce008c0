"""The screens: a room per page, what surrounds them, and the pieces they share; no mathematics."""
