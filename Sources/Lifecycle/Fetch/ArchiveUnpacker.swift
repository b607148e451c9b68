import Domain
import Glibc
import OS

/// Unpacks a foreign archive with bsdtar, after all of its entries were looked at.
struct ArchiveUnpacker: Sendable {
    let file: String
    /// PATH, HOME and the like for bsdtar.
    let environment: [String: String]
    let limits: ArchiveCheck.Limits

    /// SHA-256 of the archive, in hexadecimal.
    func sha256() throws(BuildStop) -> String {
        let result = try stopping { () throws(SystemError) in
            try Command(spec("/usr/bin/sha256sum", ["-b", file]), timeoutSeconds: 300).run()
        }
        let digest = result.text.prefix { $0 != " " && $0 != "\\" }
        guard result.status == 0, digest.utf8.count == 64, GitObject.isHex(digest) else {
            throw BuildStop(.environmentIncomplete, "sha256sum failed: \(Printable.line(result.errorText))")
        }
        return String(digest)
    }

    /// Looks at every entry; writes nothing.
    /// - Returns: the name of the folder that holds all of it; nil if there is none.
    func check() throws(ArchiveCheck.Refusal) -> String? {
        var info = stat()
        guard stat(file, &info) == 0, info.st_mode & S_IFMT == S_IFREG else { throw .init(reason: "can't be read") }
        var reader = TarReader()
        var check = ArchiveCheck(limits: limits, archiveBytes: Int64(info.st_size))
        var refusal: ArchiveCheck.Refusal?
        let words: String?
        do throws(SystemError) {
            // Whatever it is, as a plain tar, with its paths as they are: one form to parse, made by the program that unpacks.
            words = try converted { bytes in
                do throws(TarReader.Malformed) {
                    for entry in try reader.take(bytes) where refusal == nil {
                        do throws(ArchiveCheck.Refusal) { try check.take(entry) } catch { refusal = error }
                    }
                } catch {
                    refusal = .init(reason: "is damaged: \(error.reason)")
                }
                return refusal == nil
            }
        } catch {
            throw .init(reason: "can't be read: \(error)")
        }
        if let refusal { throw refusal }
        if let words { throw .init(reason: "is damaged or no archive that can be unpacked: \(words)") }
        if !reader.isComplete { throw .init(reason: "is damaged: it ends too early") }
        try check.finish()
        return check.topFolder
    }

    /// Writes the files into `folder`, which is there and empty. To be called after `check`.
    func unpack(into folder: String, withoutTopFolder: Bool) throws(BuildStop) {
        // Without -P bsdtar follows no link and leaves the folder on no path; owners, extended attributes and set-user bits
        // are not taken over.
        var arguments = [
            "-x", "-f", file, "-C", folder, "--no-same-owner", "--no-same-permissions", "--no-acls", "--no-xattrs",
            "--no-fflags",
        ]
        if withoutTopFolder { arguments += ["--strip-components", "1"] }
        let result = try stopping { () throws(SystemError) in
            try Command(spec("/usr/bin/bsdtar", arguments), timeoutSeconds: 900, outputLimit: 64 << 10).run()
        }
        guard result.status == 0 else {
            if result.errorText.contains("No space left") { throw BuildStop(.diskFull, "The build volume is full.") }
            let words = Printable.lastLines(result.errorOutput, count: 1).first ?? "exit code \(result.status)"
            throw BuildStop(.sourceUnavailable, "The archive can't be unpacked: \(words)")
        }
        // Folders and files that their owner may not write or read would stop the build, and its clean-up.
        try stopping { () throws(SystemError) in
            try FolderWalk.visit(folder) { entry throws(SystemError) in
                let mode = entry.info.st_mode & 0o777
                let wanted = mode | (entry.kind == .folder ? 0o700 : 0o600)
                if mode != wanted { try entry.setMode(wanted) }
                return .descend
            }
        }
    }

    /// Gives the archive as a plain tar to `body`, which says whether it wants more.
    /// - Returns: nil if all was read, else what bsdtar complained about.
    private func converted(_ body: ([UInt8]) -> Bool) throws(SystemError) -> String? {
        let first = try Pipe()
        let second = try Pipe()
        let out = try first.readEnd.duplicate()
        let errors = try second.readEnd.duplicate()
        let child = try ChildProcess.spawn(
            spec("/usr/bin/bsdtar", ["-c", "-P", "--format", "pax", "-f", "-", "@" + file]),
            descriptors: [nil, first.writeEnd.raw, second.writeEnd.raw])
        _ = consume first
        _ = consume second
        var words: [UInt8] = []
        var isOpen = true
        do throws(SystemError) {
            reading: while isOpen {
                var polls = [
                    pollfd(fd: out.raw, events: Int16(POLLIN), revents: 0),
                    pollfd(fd: errors.raw, events: Int16(POLLIN), revents: 0),
                ]
                try Syscall.check("poll") { poll(&polls, 2, -1) }
                // Both are closed by the program's end only; stdout is what counts.
                if polls[1].revents & Int16(POLLIN) != 0 {
                    words += try errors.read(upTo: 16 << 10).prefix(max(0, (16 << 10) - words.count))
                }
                guard polls[0].revents != 0 else { continue }
                let bytes = try out.read(upTo: 1 << 18)
                if bytes.isEmpty { isOpen = false }
                if !bytes.isEmpty && !body(bytes) {
                    try child.signal(SIGKILL)
                    break reading
                }
            }
        } catch {
            throw child.abandon(error)
        }
        if isOpen {
            _ = try child.wait()
            return nil
        }
        words += try errors.readFully(16 << 10)
        let status = try child.wait()
        return status == 0 ? nil : Printable.lastLines(words, count: 1).first ?? "exit code \(status)"
    }

    private func spec(_ program: String, _ arguments: [String]) -> ProcessSpec {
        var spec = ProcessSpec(program, arguments, environment: environment)
        // Names of any bytes; the C locale has none that can't be converted.
        spec.environment["LC_ALL"] = "C.UTF-8"
        return spec
    }
}
