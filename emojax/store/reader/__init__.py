"""The one door for bytes from outside that are neither checkpoints nor pictures.

`contents` opens a file and bounds its size, `json_text`, `npy` and `npz` parse it within a budget,
`fields` and `tables` check names, types, shapes and values. What comes out is a typed record or a
checked array; what is refused is a `UserError` of one line that names the file, what is wrong with
it and what to do. Nothing here imports JAX.
"""
