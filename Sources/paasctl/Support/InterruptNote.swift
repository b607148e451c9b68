import Glibc

/// What is said when the user presses Ctrl-C in the midst of something that goes on by itself.
enum InterruptNote {
    // SAFETY: written by the main task before the signal can matter, and read by a signal handler, which may do nothing but read
    // memory and write to a descriptor. What it once pointed to is never freed, so a handler in between reads a whole text.
    nonisolated(unsafe) private static var text: UnsafePointer<UInt8>?
    nonisolated(unsafe) private static var length = 0

    /// Ends the program with 130 at SIGINT, after the note that is set then.
    static func install() {
        // Made before a handler could ask for it: initialising is nothing for a signal handler.
        text = nil
        length = 0
        signal(SIGINT) { _ in
            if let text = InterruptNote.text { _ = write(STDERR_FILENO, text, InterruptNote.length) }
            _exit(130)
        }
    }

    static func set(_ note: String) {
        let bytes = Array("\n\(note)\n".utf8)
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: bytes.count)
        memory.initialize(from: bytes, count: bytes.count)
        length = 0
        text = UnsafePointer(memory)
        length = bytes.count
    }

    static func clear() { length = 0 }
}
