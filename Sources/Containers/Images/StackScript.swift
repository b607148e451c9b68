import Domain
import Glibc
import OS

/// Runs `stacks/build`, line by line.
struct StackScript {
    var path: String
    let reach: OutsideReach

    /// Longest time that the making of a stack may take.
    private static let timeoutSeconds: Double = 45 * 60
    private static let proxyVariables = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy"]
    /// How this host reaches a package registry, which builds are to know.
    private static let registryVariables = [
        "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT",
    ]

    /// - Parameter lock: is inherited by all that the script starts, so that the stack counts as being built until the last
    ///   of them is gone, also when we are killed.
    func run(
        name: String, output: String, cache: String, lock: borrowing OwnedFD, in group: HostWork.Group,
        progress: (String) -> Void
    ) throws(PaaSError) {
        var spec = ProcessSpec(path, [name, output, cache])
        let passedOn = Self.proxyVariables + Self.proxyVariables.map { $0.uppercased() } + Self.registryVariables
        for variable in passedOn {
            if let value = getenv(variable) { spec.environment[variable] = String(cString: value) }
        }
        for variable in Self.proxyVariables + Self.proxyVariables.map({ $0.uppercased() }) + Self.registryVariables {
            if let value = reach.variables[variable] { spec.environment[variable] = value }
        }
        spec.environment["PAAS_APT_MIRROR"] = reach.aptMirror
        spec.environment["PAAS_APT_SECURITY_MIRROR"] = reach.aptSecurityMirror
        spec.newSession = true
        spec.umask = 0o022
        let lockFD = lock.raw
        var last: [String] = []
        let status = try ImageFailure.wrap("can't make the stack \(name)") { () throws(SystemError) in
            let pipe = try Pipe()
            let reading = try pipe.readEnd.duplicate()
            let child = try ChildProcess.spawn(
                group.entered(spec), descriptors: [nil, pipe.writeEnd.raw, pipe.writeEnd.raw, lockFD])
            _ = consume pipe
            do throws(SystemError) {
                if try !follow(reading, &last, progress) {
                    try child.signal(SIGKILL)
                    last.append("it took longer than \(Int(Self.timeoutSeconds / 60)) minutes")
                }
            } catch {
                throw child.abandon(error)
            }
            return try child.wait()
        }
        guard status == 0 else {
            // The script's own complaint is its last line; what tools said before is for the log.
            let complaint = last.last.map { ": \($0)" } ?? ""
            throw PaaSError(
                .unavailable, "the stack \(name) could not be made\(complaint)", source: .dependency, retry: .safe,
                cause: ProgramFailure(path: path, status: status, words: last.joined(separator: "\n")))
        }
    }

    /// Reads what the script prints to its end. - Returns: false if it takes too long.
    private func follow(_ reading: borrowing OwnedFD, _ last: inout [String], _ progress: (String) -> Void)
        throws(SystemError) -> Bool
    {
        let deadline = Monotonic.now() + Self.timeoutSeconds
        var buffer: [UInt8] = []
        while true {
            let left = deadline - Monotonic.now()
            if left <= 0 { return false }
            var ready = pollfd(fd: reading.raw, events: Int16(POLLIN), revents: 0)
            if try Syscall.check("poll", { poll(&ready, 1, Int32(min(left, 60) * 1000)) }) == 0 { continue }
            let part = try reading.read(upTo: 64 << 10)
            if part.isEmpty { return true }
            buffer += part
            while let end = buffer.firstIndex(of: UInt8(ascii: "\n")) {
                let line = String(decoding: buffer[..<end], as: UTF8.self)
                buffer.removeSubrange(...end)
                if line.hasPrefix("=> ") { progress(String(line.dropFirst(3))) }
                last.append(line)
                if last.count > 60 { last.removeFirst() }
            }
            if buffer.count > 64 << 10 { buffer.removeAll() }
        }
    }
}
