"""The page of `emojax web`: photographs, sliders and faces in a browser, on the public API alone.

`server` listens, `guard` refuses what no visitor should send, `layout` puts the tabs together,
`*_tab` hold what one tab shows and does, `worker` runs the networks for all of them, one call after
the other, and `visits` keeps the faces that each visitor works on.
"""
