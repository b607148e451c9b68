import CLibGit2
import Domain

/// libgit2, used in a process of its own for each piece of work. Nothing of it is shared between threads: libgit2's objects
/// are not made for that, and its error text belongs to the thread.
enum GitLibrary {
    static func start() throws(PaaSError) {
        try check("start libgit2", git_libgit2_init())
        try check("make libgit2 write through to disk", slipway_git2_fsync())
    }

    /// Turns a negative result into an error. `notFound` for GIT_ENOTFOUND.
    @discardableResult
    static func check(_ what: @autoclosure () -> String, _ result: Int32) throws(PaaSError) -> Int32 {
        if result >= 0 { return result }
        let detail = git_error_last().flatMap { $0.pointee.message.map { String(cString: $0) } } ?? "error \(result)"
        let code: PaaSError.Code =
            switch result {
            case GIT_ENOTFOUND.rawValue: .notFound
            case GIT_EEXISTS.rawValue, GIT_EMODIFIED.rawValue: .conflict
            case GIT_EINVALIDSPEC.rawValue, GIT_EAMBIGUOUS.rawValue: .invalid
            default: .internal
            }
        throw PaaSError(code, "\(what()): \(detail)")
    }

    static func objectID(_ hex: String) throws(PaaSError) -> git_oid {
        try GitRules.validateObjectID(hex)
        var oid = git_oid()
        try check("read commit id", git_oid_fromstr(&oid, hex))
        return oid
    }

    static func hex(_ oid: UnsafePointer<git_oid>) -> String {
        var buffer = [CChar](repeating: 0, count: 41)
        git_oid_tostr(&buffer, buffer.count, oid)
        return String(decoding: buffer.prefix(40).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
