"""The command `unlearnlib`: forget samples of your own data, and hand out what is left.

main        what one types, and what the exit codes mean
samples     images from a folder, rows from a table, and the list of what is to go
models      a module of your own, or one whose certificate is proved: softmax on fixed features
work        train, forget, compare
releases    the folder that is handed out: written whole, read back, checked
"""
