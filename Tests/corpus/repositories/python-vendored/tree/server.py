import os
import socketserver

from greeting import greet


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        self.rfile.readline()
        self.wfile.write(greet().encode() + b"\n")


socketserver.TCPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
