import Postgres

/// The schema's steps, in order.
enum Migrations {
    static let all = [
        migration001, migration002, migration003, migration004, migration005, migration006, migration007,
        migration008,
    ]
    /// Keys of the advisory locks that this program takes in its database.
    static let lockKey: Int64 = 0x736c_6970_0001
    static let writerLockKey: Int64 = 0x736c_6970_0002
    static let allocationLockKey: Int64 = 0x736c_6970_0003
}
