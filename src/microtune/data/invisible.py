"""Characters that nobody sees and that no script needs, and those that turn the direction of writing.

What has no width goes in the step `whitespace`; marks of direction stay there, for Arabic and Hebrew need them, and are
told by `microtune lint` like the others. Joiners inside emoji and Indic scripts are in neither set.
"""

WIDTHLESS = "\u200b\u2060\ufeff\u00ad"
TURNING = "\u200e\u200f\u202a-\u202e\u2066-\u2069"  # for a character class: Unicode Standard Annex 9
