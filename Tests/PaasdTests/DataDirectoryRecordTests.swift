import Domain
import FoundationEssentials
import Glibc
import Testing

@testable import paasd

@Suite struct DataDirectoryRecordTests {
    private func withDirectory(_ body: (String) throws -> Void) throws {
        let directory = "/tmp/paasd-test-\(UUID().uuidString)"
        try #require(mkdir(directory, 0o700) == 0)
        defer {
            for name in ["platform-id", "epoch"] { unlink("\(directory)/\(name)") }
            rmdir(directory)
        }
        try body(directory)
    }

    @Test func whatWasWrittenIsRead() throws {
        try withDirectory { directory in
            let record = DataDirectoryRecord(directory: directory)
            #expect(try record.read() == (nil, 0))
            try record.write(platformID: "a-b", epoch: 7)
            try record.write(platformID: "a-b", epoch: 8)
            #expect(try record.read() == ("a-b", 8))
            // To take another database: the epoch must still grow.
            unlink(directory + "/platform-id")
            #expect(try record.read() == (nil, 8))
        }
    }

    @Test func aDamagedEpochIsNotTakenForNone() throws {
        try withDirectory { directory in
            let file = open(directory + "/epoch", O_WRONLY | O_CREAT, 0o600)
            #expect(write(file, "x", 1) == 1)
            close(file)
            #expect(throws: PaaSError.self) { try DataDirectoryRecord(directory: directory).read() }
        }
    }

    @Test func anotherDatabaseIsRefusedWithTheWayToTakeIt() {
        let record = DataDirectoryRecord(directory: "/data/lock")
        let other = PaaSError(.invalid, "this database belongs to platform b, the data directory to a-b")
        #expect(record.explained(other, platformID: "a-b").message.contains("remove /data/lock/platform-id"))
        let key = PaaSError(.invalid, "this database was written with another encryption key")
        #expect(record.explained(key, platformID: "a-b").message == key.message)
    }
}
