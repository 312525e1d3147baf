# fish completion of purlin and purlind, which say themselves what may follow.

function __purlin_complete
    set -l words (commandline -opc)
    set -l begun (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    for line in ($program __complete $words "$begun" 2>/dev/null)
        switch $line
            case :files
                __fish_complete_path "$begun"
            case :folders
                __fish_complete_directories "$begun" ''
            case '*'
                printf '%s\n' $line
        end
    end
end

complete -c purlin -f -a '(__purlin_complete)'
complete -c purlind -f -a '(__purlin_complete)'
