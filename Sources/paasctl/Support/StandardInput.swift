import Domain
import Glibc

/// Reading of files and of standard input, byte for byte and bounded.
enum StandardInput {
    /// - Throws: `Failure` above `limit` bytes or when it can't be read.
    static func readAll(_ descriptor: Int32 = STDIN_FILENO, name: String, limit: Int) throws(Failure) -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                throw Failure("\(name) can't be read: \(errorText(errno))")
            }
            if count == 0 { return bytes }
            bytes += buffer.prefix(count)
            guard bytes.count <= limit else { throw Failure("\(name) has more than \(limit) bytes") }
        }
    }

    static func readFile(_ path: String, limit: Int) throws(Failure) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure("\(path) can't be opened: \(errorText(errno))") }
        defer { close(descriptor) }
        return try readAll(descriptor, name: path, limit: limit)
    }

    /// Asks on the terminal, without echo.
    /// - Throws: `Failure` if there is no terminal.
    static func askSecret(_ prompt: String) throws(Failure) -> String {
        let terminal = open("/dev/tty", O_RDWR | O_CLOEXEC)
        guard terminal >= 0 else {
            throw Failure("there is no terminal to ask for the token; use --token-stdin")
        }
        defer { close(terminal) }
        var saved = termios()
        guard tcgetattr(terminal, &saved) == 0 else {
            throw Failure("the terminal can't be set up: \(errorText(errno))")
        }
        var silent = saved
        // Ctrl-C comes as a byte, so that the terminal's state can be put back before leaving.
        silent.c_lflag &= ~tcflag_t(ECHO | ICANON | ISIG)
        tcsetattr(terminal, TCSAFLUSH, &silent)
        defer {
            tcsetattr(terminal, TCSAFLUSH, &saved)
            Console.note("")
        }
        _ = Array(prompt.utf8).withUnsafeBytes { write(terminal, $0.baseAddress, $0.count) }
        var bytes: [UInt8] = []
        while true {
            var byte: UInt8 = 0
            let count = read(terminal, &byte, 1)
            if count < 0, errno == EINTR { continue }
            guard count == 1, byte != 10, byte != 13, byte != 4 else { break }
            if byte == 3 {
                tcsetattr(terminal, TCSAFLUSH, &saved)
                exit(130)
            }
            if byte == 127 || byte == 8 { _ = bytes.popLast() } else if bytes.count < 4096 { bytes.append(byte) }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// For a path that is remembered: it has to lead to the same file from every folder.
    static func absolutePath(_ path: String) throws(Failure) -> String {
        guard let resolved = realpath(path, nil) else {
            throw Failure("\(path) can't be read: \(errorText(errno))")
        }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    static func errorText(_ code: Int32) -> String { String(cString: strerror(code)) }
}
