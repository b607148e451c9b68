import Glibc
import OS

/// How a script of a buildpack ended.
struct ScriptEnd: Sendable {
    /// Its exit code; 128 + signal for a death by signal.
    var status: Int32
    /// It was ended because it ran too long.
    var timedOut = false
    /// Processes that it left running; they were ended.
    var leftovers = 0
    /// What it printed, where that was collected and not shown.
    var output: [UInt8] = []
    var errorOutput: [UInt8] = []
    /// The last of what was shown, for a message about a failure.
    var tail: [UInt8] = []

    var text: String { String(decoding: output, as: UTF8.self) }

    /// `exit code 3`, `signal 9 (SIGKILL)`, `a time of more than 60 s`.
    var cause: String {
        if timedOut { return "more time than it may take" }
        let names: [Int32: String] = [
            SIGILL: "SIGILL", SIGABRT: "SIGABRT", SIGBUS: "SIGBUS", SIGFPE: "SIGFPE", SIGKILL: "SIGKILL",
            SIGSEGV: "SIGSEGV", SIGPIPE: "SIGPIPE", SIGTERM: "SIGTERM", SIGXFSZ: "SIGXFSZ", SIGXCPU: "SIGXCPU",
            SIGHUP: "SIGHUP", SIGINT: "SIGINT",
        ]
        guard status > 128, status < 128 + 65 else { return "exit code \(status)" }
        return "signal \(status - 128)\(names[status - 128].map { " (\($0))" } ?? "")"
    }

    /// A signal of a fault in the program itself.
    var crashed: Bool { [SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGSEGV].contains(status - 128) }
}

/// Runs scripts one after the other, each in a session of its own; nothing of one still runs when the next begins.
struct ScriptRunner: Sendable {
    /// What to do with what a script prints.
    enum Printing: Sendable {
        /// stdout and stderr are one stream and shown as they come.
        case shown
        /// Kept, each up to this many bytes.
        case collected(limit: Int)
    }

    let output: BuildOutput
    var environment: [String: String]
    var directory: String
    /// All processes below this one are a script's. False where this process has others, as in a test.
    var endsLeftovers = true

    /// - Parameters:
    ///   - sources: files for bash to read before it becomes the program.
    ///   - timeoutSeconds: nil: as long as the build may take.
    func run(
        _ program: String, _ arguments: [String], extra: [String: String] = [:], sources: [String] = [],
        printing: Printing = .shown, timeoutSeconds: Double? = nil
    ) throws(SystemError) -> ScriptEnd {
        var spec =
            sources.isEmpty
            ? ProcessSpec(program, arguments)
            : ProcessSpec(
                "/bin/bash", ["-c", Self.script(reading: sources, then: [program] + arguments), "driver"])
        spec.environment = environment.merging(extra) { $1 }
        spec.directory = directory
        spec.newSession = true
        spec.umask = 0o022
        let first = try Pipe()
        let second = try Pipe()
        let out = try first.readEnd.duplicate()
        let errors = try second.readEnd.duplicate()
        let isShown = if case .shown = printing { true } else { false }
        let child = try ChildProcess.spawn(
            spec, descriptors: [nil, first.writeEnd.raw, isShown ? first.writeEnd.raw : second.writeEnd.raw])
        _ = consume first
        _ = consume second
        var end = ScriptEnd(status: -1)
        var collector = Collector(printing: printing, output: output)
        let deadline = timeoutSeconds.map { Monotonic.now() + $0 }
        var open = [true, true]
        do throws(SystemError) {
            // Until the program itself has ended: others that it started may hold the pipes open for ever.
            while try !Self.turn(child.pidfd.raw, out, errors, &open, &collector, until: deadline) {
                if let deadline, Monotonic.now() > deadline {
                    end.timedOut = true
                    try child.signal(SIGKILL)
                    break
                }
            }
            end.status = try child.wait()
        } catch {
            if endsLeftovers { _ = Descendants.killAll() }
            throw error
        }
        if endsLeftovers { end.leftovers = Descendants.killAll().killed }
        // All writers are gone, so this ends at once; what a process in the kernel's hands still holds is not waited for.
        let last = Monotonic.now() + 5
        while open[0] || open[1], Monotonic.now() < last {
            _ = try Self.turn(nil, out, errors, &open, &collector, until: last)
        }
        collector.finish()
        end.output = collector.kept[0]
        end.errorOutput = collector.kept[1]
        end.tail = collector.tail
        return end
    }

    /// Text for bash that reads files and becomes a program. What they read shares bash's variables and arguments, so the text
    /// uses none: all words in it are literal.
    static func script(reading sources: [String], then command: [String]) -> String {
        func quoted(_ word: String) -> String {
            "'" + word.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
        }
        let reads = sources.map { file in
            // A file that ends bash itself would else look like the success of a program that never ran.
            "trap 'echo \"A file export of a buildpack ended the shell that reads it.\" >&2; exit 1' EXIT\n"
                + "if [ -f \(quoted(file)) ]; then . \(quoted(file)); fi\n"
        }
        return reads.joined() + "trap - EXIT\nexec " + command.map(quoted).joined(separator: " ") + "\n"
    }

    /// Waits for something to read or for the program's end. True if the program has ended.
    private static func turn(
        _ pidfd: Int32?, _ out: borrowing OwnedFD, _ errors: borrowing OwnedFD, _ open: inout [Bool],
        _ collector: inout Collector, until deadline: Double?
    ) throws(SystemError) -> Bool {
        var polls: [pollfd] = []
        if open[0] { polls.append(pollfd(fd: out.raw, events: Int16(POLLIN), revents: 0)) }
        if open[1] { polls.append(pollfd(fd: errors.raw, events: Int16(POLLIN), revents: 0)) }
        if let pidfd { polls.append(pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0)) }
        let wait = deadline.map { Int32(max(0, min(($0 - Monotonic.now()) * 1000, 60_000))) + 1 } ?? -1
        let count = nfds_t(polls.count)
        try Syscall.check("poll") { poll(&polls, count, wait) }
        var ended = false
        for ready in polls where ready.revents != 0 {
            if ready.fd == pidfd {
                ended = true
                continue
            }
            let index = ready.fd == out.raw ? 0 : 1
            let bytes = index == 0 ? try out.read(upTo: 65_536) : try errors.read(upTo: 65_536)
            if bytes.isEmpty { open[index] = false } else { collector.take(bytes, index) }
        }
        return ended
    }

    /// What comes out of the pipes.
    private struct Collector {
        let printing: Printing
        let output: BuildOutput
        var kept: [[UInt8]] = [[], []]
        var tail: [UInt8] = []

        mutating func take(_ bytes: [UInt8], _ index: Int) {
            switch printing {
            case .shown:
                output.raw(bytes[...])
                tail += bytes
                if tail.count > 64 << 10 { tail.removeFirst(tail.count - (32 << 10)) }
            case .collected(let limit):
                kept[index] += bytes.prefix(max(0, limit - kept[index].count))
            }
        }

        /// A last line without an end would run into the next title.
        func finish() {
            if case .shown = printing, let last = tail.last, last != 10 { output.raw([10]) }
        }
    }
}
