import os
import socketserver


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline())


def main():
    socketserver.TCPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
