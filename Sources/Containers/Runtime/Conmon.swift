import Domain
import FoundationEssentials
import Glibc
import OS

/// Starts conmon, the small monitor that holds a container's output and waits for its end, whatever becomes of us.
struct Conmon: Sendable {
    let runtime: OCIRuntime
    let paths: ContainerPaths
    let exitDirectory: String
    let logPath: String
    /// conmon puts a new file in its place at this size, whatever becomes of us; `LogStore` keeps the full ones.
    let logBytes: Int64
    /// Files that take conmon's pid before it starts.
    let cgroupFiles: [String]

    var arguments: [String] {
        [
            "--cid", "\(paths.id)", "--cuuid", "\(paths.id)", "--name", "\(paths.id)", "--bundle", paths.bundle,
            "--runtime", runtime.path, "--runtime-arg", "--root=\(runtime.root)", "--conmon-pidfile", paths.conmonPid,
            "--container-pidfile", paths.bundle + "/container.pid", "--exit-dir", exitDirectory, "--persist-dir",
            paths.bundle, "--socket-dir-path", paths.bundle, "--log-path", "k8s-file:\(logPath)", "--log-size-max",
            "\(logBytes)", "--log-level", "error", "--no-sync-log",
        ]
    }

    private struct Report: Decodable {
        var pid: Int32?
        var data: Int32?
        var message: String?
    }

    /// Has the container created. Returns the pid of its first process, which waits to be started.
    func create() throws(PaaSError) -> pid_t {
        let line: [UInt8]
        do throws(SystemError) {
            line = try spawn()
        } catch {
            throw error.asPaaSError("conmon can't be started; apt-get install conmon")
        }
        guard let report = try? JSONDecoder().decode(Report.self, from: Data(line)),
            let pid = report.pid ?? report.data
        else {
            throw PaaSError(
                .internal, "conmon ended without a report: \(String(decoding: line.prefix(200), as: UTF8.self))")
        }
        guard pid > 0 else { throw OCIRuntime.failure("refused the container", report.message ?? "no message") }
        return pid
    }

    private func spawn() throws(SystemError) -> [UInt8] {
        let sync = try Pipe(), go = try Pipe()
        var spec = ProcessSpec(
            HostPrograms.conmon, arguments, environment: ["_OCI_SYNCPIPE": "3", "_OCI_STARTPIPE": "4"])
        // A session of its own: nothing that ends us may end it. It notes an end for want of memory in its folder.
        spec.newSession = true
        spec.directory = paths.bundle
        spec.umask = 0o077
        spec.cgroupFiles = cgroupFiles
        let child = try ChildProcess.spawn(spec, descriptors: [nil, nil, nil, sync.writeEnd.raw, go.readEnd.raw])
        let reading = try sync.readEnd.duplicate()
        do throws(SystemError) {
            try go.writeEnd.writeAll([1])
        } catch {
            throw child.abandon(error)
        }
        // Its end is seen only once no copy of the writing end is left here.
        _ = consume sync
        _ = consume go
        let line: [UInt8]
        do throws(SystemError) {
            line = try Self.readLine(reading, seconds: 60)
        } catch {
            throw child.abandon(error)
        }
        // The first conmon forks the one that stays, and ends.
        _ = try child.wait()
        return line
    }

    private static func readLine(_ fd: borrowing OwnedFD, seconds: Double) throws(SystemError) -> [UInt8] {
        let end = Monotonic.now() + seconds
        var line: [UInt8] = []
        while line.count < 64 << 10 {
            let left = end - Monotonic.now()
            guard left > 0 else { throw SystemError("conmon's report", errno: ETIMEDOUT) }
            var waiting = pollfd(fd: fd.raw, events: Int16(POLLIN), revents: 0)
            let ready = try Syscall.check("poll") { poll(&waiting, 1, Int32(left * 1000) + 1) }
            if ready == 0 { continue }
            let part = try fd.read(upTo: 4096)
            if part.isEmpty { break }
            line += part
            if line.contains(10) { break }
        }
        return Array(line.prefix { $0 != 10 })
    }
}
