"""Interactive panels: a widget that lives, and a static snapshot that stays.

Nothing is imported here: widgets are loaded by the magic that shows one.
"""
