"""One little world of coloured shapes: pictures, captions and stories made from one seeded scene description.

Depends on the standard library, numpy and Pillow only. The same seed gives the same output.
"""
