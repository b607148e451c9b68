import Domain
import Testing

@testable import Builder

@Suite struct DiskNoteTests {
    @Test func aPusherHearsOfAFullDiskBeforeBuildsAreRefused() throws {
        let settings = try Settings(environment: ["PAAS_BUILD_DISK_BYTES": "1073741824"], file: "")
        #expect(DiskNote.line(freeBytes: 2 << 30, settings) == nil)
        #expect(DiskNote.line(freeBytes: (2 << 30) - 1, settings)?.hasPrefix(" !     The platform's disk") == true)
        let nowhere = try Settings(environment: ["PAAS_DATA_DIR": "/nonexistent/data"], file: "")
        #expect(DiskNote.line(nowhere) == nil)
    }
}
