"""The dashboard: a page on 127.0.0.1 for a screen across the room and for a telephone beside it.

`link` knows the device, `columns` keeps what is plotted, `moment` says it in words, `door` decides who comes in,
`launch` runs `rfprobe run` for the operator, `page` is what the browser shows. Only `page` and `plot` need NiceGUI.
"""
