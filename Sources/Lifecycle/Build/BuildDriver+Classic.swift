import Domain
import Glibc
import OS

extension BuildDriver {
    /// Longest time of scripts that answer a question.
    private static let questionSeconds = 120.0

    /// Classic buildpacks, one after the other: detect, compile, `export`; then the last one's release.
    func runClassic(_ chosen: Chosen) throws(BuildStop) {
        for (index, pack) in chosen.buildpacks.enumerated() {
            let title = if let detected = chosen.detected { detected[index] } else { try matchOf(pack) }
            report.displayName = title
            try write(title + "\n", "detected")
            output.title("\(title) app detected")
            try compile(pack)
        }
        if let last = chosen.buildpacks.last { try release(last) }
    }

    private var arguments: [String] { [buildFolder, roots.cache, roots.env] }

    /// The display name of a buildpack that somebody named.
    private func matchOf(_ pack: Buildpack) throws(BuildStop) -> String {
        try check(pack, "detect")
        let end = try run(
            pack, "detect", [buildFolder], printing: .collected(limit: 64 << 10), seconds: Self.questionSeconds)
        if end.status == 0 && !end.timedOut { return Self.displayName(end, pack.name) }
        var lines = Printable.lastLines(end.errorOutput, count: 40)
        if end.timedOut || end.crashed || end.status == 126 || end.status == 127 {
            lines.insert(
                "bin/detect of \(pack.name) ended with \(end.cause), which is a fault of the buildpack.", at: 0)
            throw BuildStop(.buildpackUnusable, lines: lines)
        }
        lines.insert("The buildpack \(pack.name) was set for this app, but does not match this source.", at: 0)
        if let looksFor = pack.looksFor { lines.append("It looks for: \(looksFor)") }
        lines.append("Change the list: paasctl buildpacks set NAME …, or let it be found: paasctl buildpacks clear")
        throw BuildStop(.buildpackDoesNotMatch, lines: lines)
    }

    private func compile(_ pack: Buildpack) throws(BuildStop) {
        try check(pack, "compile")
        started.append(pack)
        let before = Self.identity(buildFolder)
        let end = try run(pack, "compile", arguments, printing: .shown, seconds: nil)
        guard before == Self.identity(buildFolder) else {
            throw BuildStop(
                .compileFailed,
                "bin/compile of \(pack.name) removed the folder that is built (BUILD_DIR); it may only change what is in it."
            )
        }
        guard end.status == 0 else { throw failure(of: pack, end) }
        if end.leftovers > 0 {
            output.body(
                "bin/compile of \(pack.name) left \(end.leftovers) process\(end.leftovers == 1 ? "" : "es") running; ended."
            )
        }
        let folder = buildFolder
        if try stopping({ () throws(SystemError) in try Files.list(folder) }).isEmpty {
            throw BuildStop(
                .compileFailed, "bin/compile of \(pack.name) left nothing in the folder that is built (BUILD_DIR).")
        }
        try takeExport(pack)
    }

    /// A full disk shows itself as a failure of some tool, in words of its own.
    private func failure(of pack: Buildpack, _ end: ScriptEnd) -> BuildStop {
        func isFull(_ path: String) -> Bool {
            BuildRoots.free(path).map { $0.bytes < 1 << 20 || $0.inodes == 0 } ?? false
        }
        let line = "bin/compile of \(pack.name) ended with \(end.cause)."
        if isFull(buildFolder) || isFull(roots.cache) {
            return BuildStop(.diskFull, line, "The build volume is full.")
        }
        if isFull(roots.tmp) { return BuildStop(.diskFull, line, "The folder for temporary files (/tmp) is full.") }
        if String(decoding: end.tail, as: UTF8.self).range(of: "No space left on device") != nil {
            return BuildStop(.diskFull, line, "The build volume was full; the buildpack has made room since.")
        }
        return BuildStop(.compileFailed, line)
    }

    /// `export` is for the scripts after it; bash would stop all of them at a slip in it.
    private func takeExport(_ pack: Buildpack) throws(BuildStop) {
        let file = pack.folder + "/export"
        guard access(file, R_OK) == 0 else { return }
        let runner = runner
        let end = try stopping { () throws(SystemError) in
            try runner.run("/bin/bash", ["-n", file], printing: .collected(limit: 4096), timeoutSeconds: 30)
        }
        guard end.status == 0 else {
            throw BuildStop(
                .compileFailed,
                lines: ["The buildpack \(pack.name) wrote a file export that bash can't read:"]
                    + Printable.lastLines(end.errorOutput, count: 3))
        }
        exports.append(file)
    }

    /// Metadata of the last buildpack only. A failure costs the default process types, not the build.
    private func release(_ pack: Buildpack) throws(BuildStop) {
        var text: [UInt8] = []
        let limit = 64 << 10
        if pack.has("release") {
            try check(pack, "release")
            let end = try run(
                pack, "release", [buildFolder], printing: .collected(limit: limit + 1), seconds: Self.questionSeconds)
            if end.status != 0 || end.timedOut {
                output.warn(
                    "bin/release of \(pack.name) ended with \(end.cause); its default process types are left out.")
                for line in Printable.lastLines(end.errorOutput, count: 5) { output.body(line) }
            } else if end.output.count > limit {
                output.warn(
                    "bin/release of \(pack.name) printed more than 64 KiB; its default process types are left out.")
            } else if String(validating: end.output, as: UTF8.self) == nil {
                output.warn("bin/release of \(pack.name) printed no YAML; its default process types are left out.")
            } else {
                text = end.output
            }
        }
        try write(text, "release.yml")
    }

    /// `bin/report` after success and failure. Its own failure is nobody's business.
    func collectReports() {
        var members: [JSONValue] = []
        for pack in started where pack.has("report") {
            guard
                (try? ProgramCheck.fault(file: pack.script("report"), path: buildpackEnvironment["PATH"] ?? "")) == nil,
                let end = try? run(pack, "report", arguments, printing: .collected(limit: 64 << 10), seconds: 60),
                end.status == 0, !end.timedOut
            else { continue }
            // JSON as the newer buildpacks print it; lines of others as they are.
            let value = (try? JSONParser.parse(end.output)) ?? .string(String(Printable.line(end.text).prefix(4096)))
            members.append(.object([.init("buildpack", .string(pack.name)), .init("report", value)]))
        }
        guard !members.isEmpty else { return }
        try? write(JSONValue.array(members).encoded(), "report.json")
    }

    // MARK: Helpers

    private func run(
        _ pack: Buildpack, _ script: String, _ arguments: [String], printing: ScriptRunner.Printing, seconds: Double?
    ) throws(BuildStop) -> ScriptEnd {
        let runner = runner
        let exports = exports
        return try stopping { () throws(SystemError) in
            try runner.run(
                pack.script(script), arguments, sources: exports, printing: printing, timeoutSeconds: seconds)
        }
    }

    private func check(_ pack: Buildpack, _ script: String) throws(BuildStop) {
        let path = buildpackEnvironment["PATH"] ?? ""
        let fault = try stopping { () throws(SystemError) in
            try ProgramCheck.fault(file: pack.script(script), path: path)
        }
        if let fault { throw BuildStop(.buildpackUnusable, "bin/\(script) of \(pack.name) \(fault).") }
    }

    private struct Identity: Equatable {
        var device: dev_t
        var inode: ino_t
    }

    private static func identity(_ folder: String) -> Identity? {
        var info = stat()
        guard stat(folder, &info) == 0, info.st_mode & S_IFMT == S_IFDIR else { return nil }
        return Identity(device: info.st_dev, inode: info.st_ino)
    }
}
